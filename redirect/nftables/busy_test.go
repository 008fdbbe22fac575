package nftables

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// busy adds a chain to somebody else's table each time that it is kicked, at once with
// what the kicker does next. Each is a generation of its own.
func busy(t *testing.T, kicks chan struct{}) {
	run(t, "nft", "add", "table", "noise")
	c, err := open() // the socket stays in this namespace, whoever uses it
	if err != nil {
		t.Error(err)
		return
	}
	go func() {
		defer c.close()
		n := 0
		for range kicks {
			n++
			noise := begin(ip4)
			noise.message(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE|unix.NLM_F_ACK, ip4)
			noise.String(unix.NFTA_CHAIN_TABLE, "noise")
			noise.String(unix.NFTA_CHAIN_NAME, fmt.Sprint("n", n))
			if err := c.transact(noise.end()); err != nil {
				t.Error(err)
			}
		}
	}()
}

// TestRulesOfOthersThatChangeMeanwhileFailNothing: a list of tables is EINTR when rules
// change before its end is read, and an ADD, CHECK or DEL that asks once fails with it.
func TestRulesOfOthersThatChangeMeanwhileFailNothing(t *testing.T) {
	inNetns(t, func() {
		kicks := make(chan struct{})
		defer close(kicks)
		busy(t, kicks)
		for range 1000 {
			kicks <- struct{}{}
			if _, _, err := Look(); err != nil {
				t.Errorf("look: %v", err)
				return
			}
			kicks <- struct{}{}
			if _, err := (Backend{}).Remove(); err != nil {
				t.Errorf("remove nothing: %v", err)
				return
			}
		}
	})
}
