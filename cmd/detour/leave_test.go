package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// cluster answers what leave-cluster asks, over real HTTP; the real API server is asked in e2e.
type cluster struct {
	status string // of the DaemonSets
	pods   []string
	gone   string // the name of one that is not there

	mu      sync.Mutex
	patched string
	looks   map[string]int // at each DaemonSet
	// seen is called once each of so many DaemonSets is looked at again: what its pods are was told by then.
	seen func()
	sets int
}

// looked counts a look at a DaemonSet.
func (c *cluster) looked(path string) {
	c.looks[path]++
	again := 0
	for _, n := range c.looks {
		if n > 1 {
			again++
		}
	}
	if again == c.sets {
		c.seen()
	}
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.gone != "" && strings.HasSuffix(r.URL.Path, "/"+c.gone):
		http.Error(w, `{"message": "not found"}`, http.StatusNotFound)
	case r.Method == "PATCH":
		var body json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			panic(err)
		}
		c.patched = string(body)
		fmt.Fprint(w, "{}")
	case strings.HasSuffix(r.URL.Path, "/pods"):
		// Two pages, so that both are read.
		page, more := c.pods[:min(1, len(c.pods))], "more"
		if r.URL.Query().Get("continue") == "more" {
			page, more = c.pods[len(page):], ""
		}
		fmt.Fprintf(w, `{"metadata": {"continue": %q}, "items": [%s]}`, more, strings.Join(page, ","))
	default:
		c.looked(r.URL.Path)
		fmt.Fprintf(w, `{"metadata": {"generation": 2}, "status": %s}`, c.status)
	}
}

func setPod(set, node, args, ready, deleted string) string {
	if deleted != "" {
		deleted = fmt.Sprintf(`, "deletionTimestamp": %q`, deleted)
	}
	return fmt.Sprintf(`{"metadata": {"ownerReferences": [{"name": %q}]%s}, "spec": {"nodeName": %q, "containers": [{"args": [%q]}]},
		"status": {"conditions": [{"type": "Ready", "status": %q}]}}`, set, deleted, node, args, ready)
}

func podOn(node, args, ready, deleted string) string {
	return setPod("detour", node, args, ready, deleted)
}

func TestLeavingNamesWhomItDoesNotReach(t *testing.T) {
	long, now := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), time.Now().UTC().Format(time.RFC3339)
	const part = `{"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 1, "numberReady": 1}`
	for name, tc := range map[string]struct {
		status string
		pods   []string
		says   string
		quick  bool // it does not wait for the deadline
		gone   string
		sets   []string // "detour" alone by default
	}{
		"all left": {`{"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberReady": 3}`, nil, "detour: left all 3 nodes\n", true, "", nil},
		"a dead kubelet is not waited for": {part, []string{podOn("a", "uninstall", "True", ""), podOn("z", "install", "True", long), podOn("b", "uninstall", "True", "")},
			"detour: 1 of 3 nodes were not reached: z. They keep a working entry and binary", true, "", nil},
		"a slow one is, and named": {part, []string{podOn("a", "uninstall", "True", ""), podOn("c", "uninstall", "False", ""), podOn("b", "install", "True", now)},
			"detour: 2 of 3 nodes were not reached: b, c. They keep", false, "", nil},
		"a dead one and a slow one": {part, []string{podOn("z", "install", "False", long), podOn("c", "uninstall", "False", "")}, "2 of 3 nodes were not reached: z, c.", false, "", nil},
		"of two, both are named": {part, []string{podOn("c", "uninstall", "False", ""), setPod("detour-old", "d", "install", "True", "")},
			"detour: 1 of 3 nodes were not reached: c. They keep a working entry and binary; \"detour uninstall\" there takes them out.\ndetour-old: 1 of 3 nodes were not reached: d.",
			false, "", []string{"detour", "detour-old"}},
		"gone already": {part, nil, "detour: gone already. What it left", true, "detour", nil},
		"the other is gone already": {`{"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberReady": 3}`, nil,
			"detour-old: gone already. What it left on the nodes goes on working; \"detour uninstall\" there takes it out.\ndetour: left all 3 nodes", true, "detour-old", []string{"detour-old", "detour"}},
		"no controller": {`{"observedGeneration": 1}`, nil, "detour: its controller did not act by the deadline", false, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			sets := tc.sets
			if sets == nil {
				sets = []string{"detour"}
			}
			c := &cluster{status: tc.status, pods: tc.pods, gone: tc.gone, looks: map[string]int{}, sets: len(sets), seen: stop}
			if tc.quick {
				c.seen = func() {}
			}
			server := httptest.NewServer(c)
			defer server.Close()
			a := api{base: server.URL, client: server.Client(), token: os.DevNull}
			var out strings.Builder
			if err := leaveAll(ctx, &out, a, "detour-system", sets); err != nil || !strings.Contains(out.String(), tc.says) {
				t.Errorf("%v: it says %q, want %q", err, out.String(), tc.says)
			}
			if tc.gone != "detour" && !strings.Contains(c.patched, `"uninstall","--stay"`) {
				t.Errorf("patched with %s", c.patched)
			}
			if tc.quick && ctx.Err() != nil {
				t.Error("it waited for the deadline")
			}
		})
	}
}
