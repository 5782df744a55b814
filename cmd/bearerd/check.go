package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func checkCommand() *cobra.Command {
	var config configFlag
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validate the configuration",
		Long: `check reads the configuration and reports every mistake in it as file:line:column, with what to do.
It starts nothing and asks nobody. What is allowed and may still not be meant is printed as a warning.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.load(cmd)
			if err != nil {
				return err
			}
			for _, warning := range c.Warnings() {
				fmt.Fprintln(cmd.OutOrStdout(), "warning:", warning)
			}
			table, err := c.Compile(c.LikelyCloud())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "ok: %d routes\n", len(table.Routes()))
			return err
		},
	}
	config.add(cmd)
	return cmd
}
