package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// cluster answers what leave-cluster asks, over real HTTP; the real API server is asked in e2e.
type cluster struct {
	status  string // of the DaemonSet
	pods    []string
	patched string
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == "PATCH":
		var body json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			panic(err)
		}
		c.patched = string(body)
		fmt.Fprint(w, "{}")
	case strings.HasSuffix(r.URL.Path, "/pods"):
		// Two pages, so that both are read.
		page, more := c.pods[:1], "more"
		if r.URL.Query().Get("continue") == "more" {
			page, more = c.pods[1:], ""
		}
		fmt.Fprintf(w, `{"metadata": {"continue": %q}, "items": [%s]}`, more, strings.Join(page, ","))
	default:
		fmt.Fprintf(w, `{"metadata": {"generation": 2}, "status": %s}`, c.status)
	}
}

func podOn(node, args, ready, deleted string) string {
	if deleted != "" {
		deleted = fmt.Sprintf(`, "deletionTimestamp": %q`, deleted)
	}
	return fmt.Sprintf(`{"metadata": {"ownerReferences": [{"name": "detour"}]%s}, "spec": {"nodeName": %q, "containers": [{"args": [%q]}]},
		"status": {"conditions": [{"type": "Ready", "status": %q}]}}`, deleted, node, args, ready)
}

func TestLeavingNamesWhomItDoesNotReach(t *testing.T) {
	long, now := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), time.Now().UTC().Format(time.RFC3339)
	const part = `{"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 1, "numberReady": 1}`
	for name, tc := range map[string]struct {
		status string
		pods   []string
		says   string
		quick  bool // it does not wait for the deadline
	}{
		"all left": {`{"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberReady": 3}`, nil, "detour: left all 3 nodes\n", true},
		"a dead kubelet is not waited for": {part, []string{podOn("a", "uninstall", "True", ""), podOn("z", "install", "True", long), podOn("b", "uninstall", "True", "")},
			"detour: 1 of 3 nodes were not reached: z. They keep a working entry and binary", true},
		"a slow one is, and named": {part, []string{podOn("a", "uninstall", "True", ""), podOn("c", "uninstall", "False", ""), podOn("b", "install", "True", now)},
			"detour: 2 of 3 nodes were not reached: b, c. They keep", false},
		"a dead one and a slow one": {part, []string{podOn("z", "install", "False", long), podOn("c", "uninstall", "False", "")}, "2 of 3 nodes were not reached: z, c.", false},
	} {
		t.Run(name, func(t *testing.T) {
			c := &cluster{status: tc.status, pods: tc.pods}
			server := httptest.NewServer(c)
			defer server.Close()
			a := api{base: server.URL, client: server.Client()}
			limit := 1500 * time.Millisecond
			if tc.quick {
				limit = time.Minute
			}
			ctx, stop := context.WithTimeout(t.Context(), limit)
			defer stop()
			if err := turn(ctx, a, "detour-system", "detour"); err != nil || !strings.Contains(c.patched, `"uninstall","--stay"`) {
				t.Fatalf("%v: %s", err, c.patched)
			}
			var out strings.Builder
			if err := waitLeft(ctx, &out, a, "detour-system", "detour"); err != nil || !strings.Contains(out.String(), tc.says) {
				t.Errorf("%v: it says %q, want %q", err, out.String(), tc.says)
			}
			if tc.quick && ctx.Err() != nil {
				t.Error("it waited for the deadline")
			}
		})
	}
}
