package workflows

import (
	"slices"

	"gatehouse/account"
)

// Stages returns, by FlowKind, the stages (FlowStage) at which a flow has work left. A running flow at any other stage has come
// to its outcome, and only sends what is still to be told.
func Stages() map[string][]string {
	return map[string][]string{
		"signup":         {stageAwaitingProof},
		"password":       {stageAwaitingProof},
		"phone":          {stageAwaitingProof},
		"email_change":   {stageAwaitingProof},
		"email_link":     {stageAwaitingProof},
		"device":         {stageAwaitingProof},
		"provider_link":  {stageAwaitingProvider},
		"closure":        {stageClosing, stageGrace, stageErasing},
		"notice":         {stageSending},
		"message":        {stageSending},
		"webhook":        {stageSending, stageWaiting},
		"reconciliation": append([]string{stageBeginning}, reconciliationStages()...),
		"subscription":   append([]string{stageOpening}, liveStatuses()...),
	}
}

func reconciliationStages() []string {
	var all []string
	for _, step := range reconcileSteps {
		if !slices.Contains(all, step.stage) {
			all = append(all, step.stage)
		}
	}
	return all
}

func liveStatuses() []string {
	live := account.LiveStatuses()
	all := make([]string, len(live))
	for i, status := range live {
		all[i] = string(status)
	}
	return all
}
