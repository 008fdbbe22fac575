package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tainted is the API server with one node, and detour on it.
type tainted struct {
	taints string
	token  string // that it takes
	ready  bool

	asked   int
	patched []string // the operations, and where
}

func (s *tainted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/readyz" {
		if !s.ready {
			http.Error(w, "no", http.StatusServiceUnavailable)
		}
		return
	}
	s.asked++
	if r.Header.Get("Authorization") != "Bearer "+s.token {
		http.Error(w, `{"message": "Unauthorized"}`, http.StatusUnauthorized)
		return
	}
	if r.Method == http.MethodPatch {
		var ops []struct{ Op, Path string }
		if err := json.NewDecoder(r.Body).Decode(&ops); err != nil {
			panic(err)
		}
		for _, o := range ops {
			s.patched = append(s.patched, o.Op+" "+o.Path)
		}
	}
	fmt.Fprintf(w, `{"spec": {"taints": %s}}`, s.taints)
}

// untaint looks once, with the token of a file.
func (s *tainted) untaint(t *testing.T, token string) (bool, error) {
	t.Helper()
	server := httptest.NewServer(s)
	defer server.Close()
	return untaint(t.Context(), api{base: server.URL, client: server.Client(), token: token}, "n1", "ours", server.URL+"/readyz")
}

func tokenFile(t *testing.T, token string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestATaintGoesWithEachOfItsEffectsAtOnce: the policy of the chart takes nothing less.
func TestATaintGoesWithEachOfItsEffectsAtOnce(t *testing.T) {
	s := &tainted{token: "t", ready: true, taints: `[{"key": "ours", "effect": "NoSchedule"}, {"key": "theirs"}, {"key": "ours", "effect": "NoExecute"}]`}
	if done, err := s.untaint(t, tokenFile(t, "t")); !done || err != nil {
		t.Errorf("%t, %v", done, err)
	}
	if diff := cmp.Diff([]string{"test /spec/taints/2", "remove /spec/taints/2", "test /spec/taints/0", "remove /spec/taints/0"}, s.patched); diff != "" {
		t.Error(diff)
	}
	s = &tainted{token: "t", ready: true, taints: `[{"key": "theirs"}]`}
	if done, err := s.untaint(t, tokenFile(t, "t")); done || err != nil || s.patched != nil {
		t.Errorf("of others: %t, %v, %v", done, err, s.patched)
	}
}

// TestTheAPIServerIsAskedOnlyWhenDetourIsReady: else every node that waits asks it each two seconds.
func TestTheAPIServerIsAskedOnlyWhenDetourIsReady(t *testing.T) {
	s := &tainted{token: "t", taints: `[{"key": "ours"}]`}
	if done, err := s.untaint(t, tokenFile(t, "t")); done || err == nil || !strings.Contains(err.Error(), "not ready") || s.asked != 0 {
		t.Errorf("%t, %v, asked %d times", done, err, s.asked)
	}
}

// TestATokenIsReadAnew: the kubelet replaces it before it ends.
func TestATokenIsReadAnew(t *testing.T) {
	s := &tainted{token: "first", ready: true, taints: `[]`}
	server := httptest.NewServer(s)
	defer server.Close()
	a := api{base: server.URL, client: server.Client(), token: tokenFile(t, "first")}
	for _, token := range []string{"first", "second"} {
		s.token = token
		if err := os.WriteFile(a.token, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := untaint(t.Context(), a, "n1", "ours", server.URL+"/readyz"); err != nil {
			t.Errorf("%s: %v", token, err)
		}
	}
}

func TestWhatKeepsATaintIsSaidOnce(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var out strings.Builder
	looks := []string{"a", "a", "a", "b", "a"}
	keepUntainted(ctx, time.Millisecond, &out, func() error {
		now := looks[0]
		if looks = looks[1:]; len(looks) == 0 {
			stop()
		}
		return errors.New(now)
	})
	if out.String() != "untaint: a\nuntaint: b\nuntaint: a\n" {
		t.Errorf("said %q", out.String())
	}
}
