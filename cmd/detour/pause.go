package main

import "github.com/spf13/cobra"

// pauseCommand waits: it is what the pod of `kubectl detour` does until it is asked something.
func pauseCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "pause",
		Short:  "Wait until the end is asked for",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			<-c.Context().Done()
			return nil
		},
	}
}
