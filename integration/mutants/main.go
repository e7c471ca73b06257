// Command mutants puts flaws into our code, one at a time, and looks whether the
// tests notice:
//
//	go run ./integration/mutants [name]...
//
// No file of the tree is touched: Go's -overlay stands other files in their place.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	survivors := 0
	for _, m := range mutants {
		if len(os.Args) > 1 && !slices.Contains(os.Args[1:], m.name) {
			continue
		}
		verdict, err := m.run()
		if err != nil {
			verdict = "ERROR: " + err.Error()
		}
		if !strings.HasPrefix(verdict, "killed") {
			survivors++
		}
		fmt.Printf("%-32s %s\n", m.name, verdict)
	}
	if survivors > 0 {
		fmt.Fprintf(os.Stderr, "%d not killed\n", survivors)
		os.Exit(1)
	}
}

// run says which test kills the mutant, if one does.
func (m mutant) run() (string, error) {
	scratch, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	overlay, err := m.overlay(scratch)
	if err != nil {
		return "", err
	}
	caddy := filepath.Join(scratch, "caddy")
	for _, t := range m.tests {
		test := exec.Command("go", "test", "-overlay", overlay, "-count=1", "-failfast", "-run", t.named, t.in)
		if strings.HasPrefix(t.in, integration) {
			if err := buildCaddy(caddy, overlay); err != nil {
				return "", err
			}
			test.Env = append(os.Environ(), "EDGE_AUTH_CADDY="+caddy)
		}
		out, err := test.CombinedOutput()
		switch {
		case err == nil:
		case strings.Contains(string(out), "[build failed]"):
			return "", fmt.Errorf("it does not build: %s", out)
		default:
			return "killed by " + firstFailure(string(out)) + " in " + t.in, nil
		}
	}
	return "SURVIVED " + fmt.Sprint(m.tests), nil
}

// buildCaddy builds one with the mutant, unless it is there.
func buildCaddy(caddy, overlay string) error {
	if _, err := os.Stat(caddy); err == nil {
		return nil
	}
	out, err := exec.Command("go", "build", "-overlay", overlay, "-o", caddy, "./integration/testcaddy").CombinedOutput()
	if err != nil {
		return fmt.Errorf("it does not build: %s", out)
	}
	return nil
}

// overlay writes the mutant's files and what tells Go of them.
func (m mutant) overlay(scratch string) (string, error) {
	texts := make(map[string]string)
	for _, e := range m.edits {
		text, ok := texts[e.file]
		if !ok {
			data, err := os.ReadFile(e.file)
			if err != nil {
				return "", err
			}
			text = string(data)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return "", fmt.Errorf("%s holds %d times, and must once: %s", e.file, n, e.old)
		}
		texts[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	replaced := make(map[string]string)
	for file, text := range texts {
		path, err := filepath.Abs(file)
		if err != nil {
			return "", err
		}
		replaced[path] = filepath.Join(scratch, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(replaced[path], []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	data, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", err
	}
	path := filepath.Join(scratch, "overlay.json")
	return path, os.WriteFile(path, data, 0o600)
}

// firstFailure is the name of the test that failed most deeply, from go test's output.
func firstFailure(out string) string {
	name := "a test that did not end well"
	for line := range strings.Lines(out) {
		if _, failed, ok := strings.Cut(line, "--- FAIL: "); ok {
			name, _, _ = strings.Cut(failed, " (")
			if strings.HasPrefix(line, " ") {
				break // a subtest
			}
		}
	}
	return name
}
