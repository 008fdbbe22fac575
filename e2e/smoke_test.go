package e2e

import "testing"

func TestNode(t *testing.T) {
	if err := knode.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
}
