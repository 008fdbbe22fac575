package iptables

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/detour-cni/detour/redirect"
)

func TestWhatIsSentIsWhatIsReadBack(t *testing.T) {
	for _, tc := range specs {
		t.Run(tc.name, func(t *testing.T) {
			rs := compile(t, tc.change)
			eachVariant(t, func(t *testing.T, b *Backend) {
				if change := commit(t, b, rs); change != redirect.Installed {
					t.Errorf("first Commit: %s", change)
				}
				got, stamp, err := b.List()
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(b.Want(rs), got); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
				if stamp == nil || !stamp.Is(owner) || stamp.Digest != got.Digest() {
					t.Errorf("stamp %+v", stamp)
				}
				if moved, err := redirect.Check(b.Want(rs), got, stamp); moved || err != nil {
					t.Errorf("Check: moved %v, %v", moved, err)
				}
			})
		})
	}
}

func TestSecondCommitChangesNothing(t *testing.T) {
	for _, tc := range specs {
		t.Run(tc.name, func(t *testing.T) {
			rs := compile(t, tc.change)
			eachVariant(t, func(t *testing.T, b *Backend) {
				commit(t, b, rs)
				before := saved(t, b)
				if change := commit(t, b, rs); change != redirect.Unchanged {
					t.Errorf("second Commit: %s", change)
				}
				if diff := cmp.Diff(before, saved(t, b)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}
