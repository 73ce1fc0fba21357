package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// printHelp shows the flags of serve where no command is named, since that is
// the command that runs.
func printHelp(o kong.HelpOptions, ctx *kong.Context) error {
	if ctx.Selected() != nil && ctx.Selected().Name != "serve" {
		return kong.DefaultHelpPrinter(o, ctx)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n\nUsage:\n", ctx.Model.Help)
	for _, child := range ctx.Model.Children {
		name, flags := child.Name, "[flags]"
		switch name {
		case "serve":
			name, flags = "", "[--base MODEL] [flags]"
		case "version":
			flags = ""
		case "hash-key":
			flags = "< KEY"
		case "batch":
			flags = "--input FILE --output FILE [flags]"
		case "pull":
			flags = "URI [flags]"
		}
		fmt.Fprintf(&out, "  %-46s %s\n", strings.Join(strings.Fields("peft-serve "+name+" "+flags), " "), child.Help)
	}
	out.WriteString("\nEvery flag is also a variable, PEFT_SERVE_KV_CACHE for --kv-cache, and a key of the\n" +
		"--config file, kv-cache: a flag wins over a variable, a variable over the file.\n")
	for _, child := range ctx.Model.Children {
		if child.Name == "serve" {
			printFlags(&out, child)
		}
	}
	_, err := io.WriteString(ctx.Stdout, out.String())
	return err
}

func printFlags(out *strings.Builder, node *kong.Node) {
	for _, group := range groups {
		var lines [][2]string
		width := 0
		for _, f := range node.Flags {
			if f.Group == nil || f.Group.Key != group.Key || f.Hidden {
				continue
			}
			left := "--" + f.Name
			if !f.IsBool() {
				left += " " + f.FormatPlaceHolder()
			}
			lines = append(lines, [2]string{left, describe(f.Value)})
			width = max(width, len(left))
		}
		if len(lines) > 0 {
			fmt.Fprintf(out, "\n%s:\n", group.Title)
		}
		for _, l := range lines {
			fmt.Fprintf(out, "  %-*s  %s\n", width, l[0], l[1])
		}
	}
}

// describe is a flag's help with its default.
func describe(v *kong.Value) string {
	if v.Default != "" && v.Default != "0" && !strings.Contains(v.Help, "default") {
		return fmt.Sprintf("%s (%s)", v.Help, v.Default)
	}
	return v.Help
}
