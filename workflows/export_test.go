package workflows

// Summaries is the table of the steps' summaries.
func Summaries() map[string]string { return summaries }
