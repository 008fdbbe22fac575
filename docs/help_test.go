package docs_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// helpOf gives `detour COMMAND --help`, as this tree says it.
func helpOf(t *testing.T) func(string) (string, error) {
	program := ""
	return func(command string) (string, error) {
		if program == "" {
			program = filepath.Join(t.TempDir(), "detour")
			if out, err := exec.Command("go", "build", "-o", program, "../cmd/detour").CombinedOutput(); err != nil {
				return "", fmt.Errorf("%w: %s", err, out)
			}
		}
		out, err := exec.Command(program, append(strings.Fields(command), "--help")...).CombinedOutput()
		text := strings.ReplaceAll(string(out), filepath.Dir(program)+"/", "BESIDE-DETOUR/")
		return "```\n" + strings.TrimRight(text, "\n") + "\n```\n", err
	}
}

// goldenOf gives a section of a script of testdata, which a test holds against the commands:
// detour/netns/story.txtar app-out.
func goldenOf(args string) (string, error) {
	file, section, _ := strings.Cut(args, " ")
	a, err := txtar.ParseFile(filepath.Join("..", "testdata", file))
	if err != nil {
		return "", err
	}
	for _, f := range a.Files {
		if f.Name == section {
			return "```\n" + string(f.Data) + "```\n", nil
		}
	}
	return "", fmt.Errorf("%s: no section %q", file, section)
}

// TestThePictureIsTheStorys: docs/picture.svg is what `detour inspect -o svg` draws of the story's pod.
func TestThePictureIsTheStorys(t *testing.T) {
	a, err := txtar.ParseFile("../testdata/detour/netns/story.txtar")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(a.Files, func(f txtar.File) bool { return f.Name == "picture" })
	if string(a.Files[i].Data) != read(t, "picture.svg") {
		if !*update {
			t.Fatal("docs/picture.svg is another picture (go test ./docs -update)")
		}
		write(t, "picture.svg", string(a.Files[i].Data))
	}
}

// TestExamplesUseFlagsThatAreThere: each flag of an example in --help is one of the command's.
func TestExamplesUseFlagsThatAreThere(t *testing.T) {
	help, examples := helpOf(t), 0
	for _, page := range pages(t) {
		command, isCommand := strings.CutPrefix(strings.TrimSuffix(page, ".md"), "commands/")
		if !isCommand {
			continue
		}
		text, err := help(command)
		if err != nil {
			t.Fatal(err)
		}
		_, flags, _ := strings.Cut(text, "\nFlags:\n")
		for _, line := range regexp.MustCompile(`(?m)^  .*\bdetour `+command+`\b.*$`).FindAllString(text, -1) {
			for _, flag := range regexp.MustCompile(` (--?[a-z][a-z-]*)`).FindAllStringSubmatch(line, -1) {
				examples++
				if !regexp.MustCompile(`(?m)^ +.*` + flag[1] + `\b`).MatchString(flags) {
					t.Errorf("detour %s --help: %q has %s, which is no flag of it", command, line, flag[1])
				}
			}
		}
	}
	if examples < 15 {
		t.Errorf("%d flags in examples", examples)
	}
}

// TestEveryCommandHasItsPage: those of `detour --help`, and every page is in the index.
func TestEveryCommandHasItsPage(t *testing.T) {
	help, err := helpOf(t)("")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`(?m)^  ([a-z-]+)  +[A-Z]`).FindAllStringSubmatch(help, -1)
	if len(commands) < 10 {
		t.Fatalf("%d commands in %s", len(commands), help)
	}
	there := pages(t)
	for _, c := range commands {
		if c[1] != "help" && !slices.Contains(there, "commands/"+c[1]+".md") {
			t.Errorf("no page commands/%s.md", c[1])
		}
	}
	index := read(t, "README.md")
	for _, page := range there {
		if page != "../README.md" && page != "README.md" && !strings.Contains(index, "("+page+")") && !strings.HasPrefix(page, "adr/0") {
			t.Errorf("docs/README.md does not lead to %s", page)
		}
	}
}
