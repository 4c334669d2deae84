package workflows

// StepSummaries is the table of the steps' summaries.
func StepSummaries() map[string]string { return summaries }
