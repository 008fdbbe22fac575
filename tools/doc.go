// Package tools holds the versions of the linters and test tools (go.mod), and the
// proof that the linter's import table bites (imports_test.go).
package tools
