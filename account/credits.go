package account

// CreditMultipliers are the credits that a unit of each action costs; the same for all accounts (contract A01).
var CreditMultipliers = map[string]float64{
	"default": 5.5, "speech_translation": 55, "translation": 27.5, "voice_cloning": 5.5, "voice_conversion": 16.5,
}
