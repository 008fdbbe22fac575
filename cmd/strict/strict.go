// Package strict has a wrong word on a command line refused, for detour and kubectl detour alike.
package strict

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Commands makes a wrong word a usage error, in every command below c and in cobra's own: there an unknown
// command shows the help, and ends with 0, as if something had been asked and were well. usage gives the
// program's own error for it.
func Commands(c *cobra.Command, usage func(error) error) {
	for _, sub := range c.Commands() {
		Commands(sub, usage)
	}
	check := c.Args
	switch {
	case c.HasSubCommands():
		check = func(c *cobra.Command, args []string) error { return unknownCommand(c, args) }
		if !c.Runnable() { // cobra asks only what runs about its arguments
			c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	case c.Name() == "help":
		check = func(c *cobra.Command, args []string) error {
			topic, rest, err := c.Root().Find(args)
			if err != nil {
				return err
			}
			return unknownCommand(topic, rest)
		}
	case check == nil:
		return
	}
	c.Args = func(c *cobra.Command, args []string) error {
		err := check(c, args)
		switch {
		case err == nil:
			return nil
		case c.HasSubCommands() || c.Name() == "help":
			return usage(err)
		}
		if len(args) == 0 {
			return usage(fmt.Errorf("no argument: want %s", c.UseLine()))
		}
		return usage(fmt.Errorf("arguments %q: want %s", args, c.UseLine()))
	}
}

// unknownCommand names the first word that is no command of c, and those that are nearest.
func unknownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("%q: no command of %s", args[0], c.CommandPath())
	c.SuggestionsMinimumDistance = 2 // letters that are wrong: cobra's own default, which it sets elsewhere
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("%w (did you mean %s?)", err, strings.Join(near, " or "))
	}
	return fmt.Errorf("%w (%s --help lists them)", err, c.CommandPath())
}
