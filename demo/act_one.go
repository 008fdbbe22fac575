package main

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/detour-cni/detour/demo/proxy"
	"github.com/detour-cni/detour/redirect"
)

const proxyUID = 1337

// cart is the pod of the first act.
type cart struct {
	*screen
	*node
	pod     *pod
	options map[string]any
	rules   redirect.RuleSet
}

func actOne(s *screen, n *node) error {
	rules, err := redirect.Compile(redirect.EnvoyDefaults())
	if err != nil {
		return err
	}
	c := &cart{screen: s, node: n, options: map[string]any{"pods": "all", "backend": "nftables"}, rules: rules}
	for _, step := range []func() error{c.start, c.outbound, c.own, c.inbound, c.table, c.again, c.broken, c.repaired, c.picture, c.end} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (s *screen) opening() {
	s.print("%s", s.paint(bold, "detour: how a pod's traffic comes to take the way through its proxy"))
	s.print(`
    A "pod" here is a network of its own with two programs in it: an app, and a proxy that is to see
    all of the app's calls (to encrypt, count or refuse them). The app knows nothing of the proxy.

      a node (this demo, fenced off: your machine's network and rules are not touched)
      ├─ a service out there     %s:80 and [%s]:80
      └─ the pod "cart"
           app    user 1000      answers on port 8080
           proxy  user 1337      takes outgoing calls on 15001, incoming ones on 15006`, service4, service6)
}

func (c *cart) start() error {
	c.step("The pod starts, and its network is set up")
	c.say("A container runtime sets up a pod's network by a chain of plugins. Here it is two: bridge gives the " +
		"pod an interface and addresses, detour-cni puts in the redirect. cnitool plays the runtime.")
	if err := writeNetwork("demo", c.options); err != nil {
		return err
	}
	var err error
	if c.pod, err = newPod("cart", "demo"); err != nil {
		return err
	}
	c.ran("cnitool add demo " + c.pod.netns)
	added, err := add(c.pod)
	if err != nil {
		return err
	}
	c.saw("bridge", "the pod has %s and %s", c.pod.addr4, c.pod.addr6)
	c.saw("detour-cni", "rules %s (%s), took %s", added.field("rules"), added.field("backend"), added.field("took"))
	c.check(c.pod.addr4.IsValid() && c.pod.addr6.IsValid(), "the pod has an address of each family, IPv4 and IPv6")
	c.check(added.field("rules") == "installed", "detour-cni says that it installed rules", added.log)
	if err := c.startApp(c.pod); err != nil {
		return err
	}
	return c.startProxy(c.pod, proxyUID, 15001, 15006, "127.0.0.6,::6")
}

func (c *cart) outbound() error {
	c.step("The app calls the service; the kernel bends the call into the proxy")
	c.say("The app just dials the service's address. The proxy finds a stranger's connection at its door and asks " +
		"the kernel where it was going (SO_ORIGINAL_DST): that is what makes a redirect more than a wrong number.")
	for _, family := range families() {
		to := serviceAt(family)
		got, seen, err := c.pod.watch(c.pod.netns, appUID, to)
		if err != nil {
			return err
		}
		c.told("app", "calls "+to, seen, got)
		c.check(one(seen, proxy.Outbound, got.Local, to), "the proxy took the app's "+name(family)+" call and knew where it was going", seen, got.Err)
		c.check(got.Name == "the service" && got.Caller != got.Local, "the service answered, and it was the proxy that called it", got)
	}
	return nil
}

func (c *cart) own() error {
	c.step("The proxy's own calls are let through")
	c.say("If they were bent as well the proxy would call itself for ever. The kernel tells the two apart by the " +
		"user that opened the connection: the very same call, made as user 1337, goes straight out.")
	for _, family := range families() {
		to := serviceAt(family)
		got, seen, err := c.pod.watch(c.pod.netns, proxyUID, to)
		if err != nil {
			return err
		}
		c.told("user 1337", "calls "+to, seen, got)
		c.check(len(seen) == 0 && got.Name == "the service" && got.Caller == got.Local,
			"user 1337 reached the service by "+name(family)+" from its own port: nobody was in between", seen, got)
	}
	return nil
}

func (c *cart) inbound() error {
	c.step("Somebody outside calls the app; that call meets the proxy first, too")
	c.say("The proxy passes it on to the app from 127.0.0.6 (or ::6), an address by which the rules know that " +
		"this call has been through the proxy already.")
	sources := map[string]string{"v4": "127.0.0.6", "v6": "::6"}
	for _, family := range families() {
		to := c.pod.addr(family, appPort).String()
		got, seen, err := c.pod.watch("", 0, to)
		if err != nil {
			return err
		}
		c.told("the node", "calls "+to, seen, got)
		caller, _ := netip.ParseAddrPort(got.Caller) // the zero AddrPort fails the check below
		c.check(one(seen, proxy.Inbound, got.Local, to), "the proxy took the incoming "+name(family)+" call and knew its way", seen, got.Err)
		c.check(got.Name == "cart's app" && caller.Addr().String() == sources[family], "the app answered the proxy", got)
	}
	return nil
}

func (c *cart) table() error {
	c.step("These are the rules that did it")
	c.say("The first rule that fits decides. The kernel keeps each with its reason, and counts how often it " +
		"decided about a new connection; anybody with root sees the same by `nft list table inet detour`.")
	rules, err := countRules(c.pod, c.rules)
	if err != nil {
		return err
	}
	c.showRules(rules)
	same, decided := len(rules) > 0, map[string]uint64{}
	for _, r := range rules {
		same = same && r.same
		decided[r.rule.Why] += r.packets
	}
	c.check(same, "every rule in the kernel gives the reason that was compiled into it")
	c.check(decided["the rest goes to the proxy"] == 2, "two calls of the app were bent: one of each family", decided)
	c.check(decided["the proxy itself: redirecting it would loop"] == 4, "four calls of user 1337 were let through: two of ours, two the proxy's", decided)
	c.check(decided["inbound goes to the proxy"] == 2, "two calls from outside were bent", decided)
	return nil
}

func (c *cart) again() error {
	c.step("The runtime asks a second time: nothing changes")
	before, err := nft(c.pod.netns, "-s", "-a", "list", "ruleset")
	if err != nil {
		return err
	}
	c.ran("CNI_COMMAND=ADD detour-cni < configuration")
	added, err := addAgain(c.pod, c.options)
	if err != nil {
		return err
	}
	after, err := nft(c.pod.netns, "-s", "-a", "list", "ruleset")
	if err != nil {
		return err
	}
	c.saw("detour-cni", "rules %s, took %s", added.field("rules"), added.field("took"))
	c.check(added.err == "" && before == after && before != "", "the very same rules are there, down to the kernel's own numbers for them", added.err)
	c.check(compact(added.stdout) == compact(c.pod.result), "the runtime gets the same answer as the first time", string(added.stdout))
	return nil
}

func (c *cart) broken() error {
	const lost = "the rest goes to the proxy"
	c.step("Somebody deletes a rule")
	listing, err := nft(c.pod.netns, "-a", "list", "ruleset")
	if err != nil {
		return err
	}
	handle := handleOf(listing, lost)
	if handle == "" {
		return fmt.Errorf("no rule in the pod says %q", lost)
	}
	command := []string{"delete", "rule", "inet", "detour", "DETOUR_OUTPUT", "handle", handle}
	c.ran("nft " + strings.Join(command, " "))
	if _, err := nft(c.pod.netns, command...); err != nil {
		return err
	}
	c.say("Now the app's calls go past the proxy, and nothing in the pod looks any different. That is the " +
		"dangerous kind of broken. CHECK is how a runtime finds out.")
	got, seen, err := c.pod.watch(c.pod.netns, appUID, serviceAt("v4"))
	if err != nil {
		return err
	}
	c.told("app", "calls "+serviceAt("v4"), seen, got)
	c.check(len(seen) == 0 && got.Caller == got.Local, "the app's call did go past the proxy", seen, got)
	c.ran("cnitool check demo " + c.pod.netns)
	checked, err := cnitool("check", c.pod)
	if err != nil {
		return err
	}
	c.saw("detour-cni", "%s", checked.err)
	c.check(strings.Contains(checked.err, lost) && strings.Contains(checked.err, "missing"), "CHECK fails, and names the rule that is missing")
	return nil
}

func (c *cart) repaired() error {
	c.step("The next ADD puts it right")
	c.ran("CNI_COMMAND=ADD detour-cni < configuration")
	added, err := addAgain(c.pod, c.options)
	if err != nil {
		return err
	}
	c.saw("detour-cni", "rules %s, took %s", added.field("rules"), added.field("took"))
	c.check(added.err == "", "ADD succeeds", added.err)
	c.ran("cnitool check demo " + c.pod.netns)
	checked, err := cnitool("check", c.pod)
	if err != nil {
		return err
	}
	c.check(checked.err == "", "CHECK is content again", checked.err)
	got, seen, err := c.pod.watch(c.pod.netns, appUID, serviceAt("v4"))
	if err != nil {
		return err
	}
	c.check(one(seen, proxy.Outbound, got.Local, serviceAt("v4")), "the app's calls take the way through the proxy again", seen, got)
	return nil
}

func (c *cart) picture() error {
	c.step("The same as a picture")
	c.say("detour inspect looks into a live pod, whoever wrote its rules: where packets go, who listens there, and what is wrong.")
	c.ran("detour inspect " + c.pod.netns + " -o html > cart.html")
	look := exec.Command(filepath.Join(home, "bin", "detour"), "inspect", c.pod.netns, "-o", "html")
	look.Stdout = c.page
	var errs strings.Builder
	look.Stderr = &errs
	err := look.Run()
	c.check(err == nil, "nothing is wrong with the pod", err, errs.String())
	c.saw("picture", "%s", c.page.Name())
	return nil
}

func (c *cart) end() error {
	c.step("The pod ends")
	c.ran("cnitool del demo " + c.pod.netns)
	if err := c.remove(c.pod); err != nil {
		return err
	}
	onNode, err := nft("", "list", "ruleset")
	if err != nil {
		return err
	}
	c.check(onNode == "", "the node itself has no rule of ours, and never needed one", onNode)
	deleted, err := cnitool("del", c.pod)
	if err != nil {
		return err
	}
	c.check(deleted.err == "", "a second DEL succeeds as well: runtimes send up to three", deleted.err)
	return nil
}
