package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommand writes man pages: for packagers, so help does not list it.
func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write a man page for each command",
		Long:    "Write a man page for each command into DIR, which is made where it is missing.",
		Example: "  detour man man1 && man man1/detour-inspect.1",
		Hidden:  true,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return exit{exitUsage, err}
			}
			root := c.Root()
			root.DisableAutoGenTag = true // no date: the same build writes the same pages
			if err := doc.GenManTree(root, &doc.GenManHeader{Title: "DETOUR", Section: "1", Source: "detour " + buildVersion}, args[0]); err != nil {
				return exit{exitUnknown, err}
			}
			return nil
		},
	}
}
