package docs_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// benchTable gives rows of benchmarks.md, by name, for a page that must not say
// other numbers.
func benchTable(t *testing.T) func(string) (string, error) {
	return func(args string) (string, error) {
		page := read(t, "benchmarks.md")
		measured := regexp.MustCompile(`(?m)^Measured on .*?; load`).FindString(page)
		if measured == "" {
			return "", fmt.Errorf("benchmarks.md does not say where it was measured")
		}
		rows := benchRows(page)
		var b strings.Builder
		fmt.Fprintf(&b, "\n%s.\n\n| | measured | limit |\n|---|---|---|\n", strings.TrimSuffix(measured, "; load"))
		for name := range strings.SplitSeq(args, "; ") {
			row, ok := rows[name]
			if !ok {
				return "", fmt.Errorf("benchmarks.md has no row %q (has %q)", name, slices.Sorted(maps.Keys(rows)))
			}
			value := row["size"]
			if r := row["ratio"]; r != "" {
				value = r + " x " + strings.Replace(row["of"], "add-nftables", "ADD, nftables", 1)
				if row["a second"] != "" {
					value = r + " x do-nothing's throughput"
				}
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", name, value, strings.Trim(row["limit"]+" "+row[""], " "))
		}
		return b.String() + "\n", nil
	}
}

// benchRows reads the tables of benchmarks.md: cells by row and column.
func benchRows(page string) map[string]map[string]string {
	rows := map[string]map[string]string{}
	var columns []string
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "|") {
			columns = nil
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if columns == nil {
			columns = cells
			continue
		}
		name := cells[0]
		if columns[0] == "what" && slices.Contains(columns, "a second") {
			name += " (64 at once)"
		}
		row := map[string]string{}
		for i, c := range columns {
			row[c] = cells[i]
		}
		if _, twice := rows[name]; !twice {
			rows[name] = row
		}
	}
	return rows
}
