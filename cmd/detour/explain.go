package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/detour-cni/detour/inspect"
	"github.com/detour-cni/detour/inspect/words"
	"github.com/detour-cni/detour/redirect"
)

func explainCommand() *cobra.Command {
	var (
		source source
		call   call
		look   looker
		output string
		other  string
	)
	c := &cobra.Command{
		Use:   "explain [TARGET] --from WHO --to ADDRESS:PORT",
		Short: "Say where a packet would end, and which rules say so",
		Long: `Say where a packet would end, and which rules say so: the live rules of TARGET, whoever wrote them, or with --annotations or
--spec those that a pod would get.

TARGET is the path of a network namespace, a pid, a container id, or NAMESPACE/POD on this node. There the pod's addresses
and the interface that leads out are its own; --in is for another.

WHO is app (user 1000), proxy (the owner that the redirect knows the proxy by), wire (somebody outside), or UID[:GID].
An ADDRESS left out (":8080") is the pod's own. It is the same walk through the rules that detour's tests hold against
the kernel.

Exit code 0: there is an answer. 2: usage. 3: nobody can say.`,
		Example: `  detour explain shop/cart-0 --from app --to 10.96.0.10:80
  detour explain --annotations cart.yaml --from app --to 10.96.0.10:80
  detour explain --spec redirect.json --from wire --to :8080 -o json
  detour explain --spec old.json --diff new.json
  kubectl get pod cart-0 -o yaml | detour explain --annotations - --from proxy --to 10.0.0.1:443`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if other != "" {
				return call.compare(source, other, c.InOrStdin(), c.OutOrStdout())
			}
			explain := call.compiled
			if len(args) == 1 {
				explain = call.ofLive(c.Context(), args[0], look, c.Flags().Changed("in"))
			}
			e, err := explain(source, c.InOrStdin())
			if err != nil {
				return err
			}
			if err := e.print(c.OutOrStdout(), output); err != nil {
				return err
			}
			if e.out.Verdict == redirect.Unknown {
				return exit{code: exitUnknown}
			}
			return nil
		},
	}
	source.register(c.Flags())
	call.register(c.Flags())
	c.Flags().StringVar(&other, "diff", "", "another file like --spec or --annotations: which packets change their way from the first to this (exit code 1: some do)")
	c.Flags().StringVar(&look.cache, "cache", "/var/lib/cni/results", "the runtime's cache of CNI results")
	criSocketFlag(c, &look.cri)
	c.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return c
}

// compiled explains for a pod that is not there yet.
func (c *call) compiled(s source, stdin io.Reader) (e explanation, err error) {
	if e.of, err = s.read(stdin); err != nil {
		return e, err
	}
	rs, err := e.of.rules()
	if err != nil {
		return e, err
	}
	if e.packet, err = c.packet(e.of.Spec); err != nil {
		return e, exit{exitUsage, err}
	}
	e.out = redirect.Trace(rs, e.packet)
	return e, nil
}

// compare prints what changes from one redirect to another.
func (c *call) compare(s source, other string, stdin io.Reader, out io.Writer) error {
	before, err := s.read(stdin)
	if err != nil {
		return err
	}
	second := s
	if s.spec != "" {
		second.spec = other
	} else {
		second.annotations = other
	}
	after, err := second.read(stdin)
	if err != nil {
		return err
	}
	all, err := c.diff(before, after)
	if err != nil {
		return err
	}
	return printChanges(out, all)
}

// ofLive explains for a pod that is there.
func (c *call) ofLive(ctx context.Context, asked string, look looker, in bool) func(source, io.Reader) (explanation, error) {
	return func(s source, _ io.Reader) (e explanation, err error) {
		if s.spec+s.annotations != "" {
			return e, exit{exitUsage, errors.New("TARGET and --spec or --annotations: want one of them")}
		}
		targets, err := look.targets(ctx, []string{asked})
		if err != nil {
			return e, err
		}
		t := targets[0]
		seen, err := inspect.Look(t.netns, inspect.ReadProcesses())
		if err != nil {
			return e, exit{exitUnknown, lookError(err)}
		}
		if !in {
			c.in = ""
		}
		if e.packet, err = c.live(seen); err != nil {
			return e, exit{exitUsage, err}
		}
		e.of.Why = "live, of " + t.name
		if len(seen.Rules.Unread) > 0 {
			e.of.Why += "; not read: " + strings.Join(seen.Rules.Unread, "; ")
		}
		e.out = redirect.Trace(seen.Rules.RuleSet(), e.packet)
		return e, nil
	}
}

// explanation is a packet's way through the rules of a pod.
type explanation struct {
	of     decided
	packet redirect.Packet
	out    redirect.Outcome
}

func (e explanation) print(w io.Writer, output string) error {
	switch output {
	case "text":
		return e.text(w)
	case "json":
		text, err := e.json()
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		return err
	}
	return exit{exitUsage, fmt.Errorf("--output: %q (want text or json)", output)}
}

// text shows each rule that looked at the packet, those that fit with an arrow.
func (e explanation) text(w io.Writer) error {
	var b strings.Builder
	words.Fprintf(&b, "%s\n", packetWords(e.packet))
	words.Fprintf(&b, "rules: %s\n", e.of.Why)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	chain := ""
	for _, s := range e.out.Steps {
		at := fmt.Sprintf("%s, %s %s", s.Chain, s.Table, s.Hook)
		if at != chain {
			chain = at
			words.Fprintf(t, "\n%s\n", at)
		}
		words.Fprintf(t, "%s %d\t%s\t%s\t%s\n", arrow(s.Matched), s.Index+1, words.Match(s.Rule.Match), words.Target(s.Rule.Target), s.Rule.Why)
	}
	t.Flush() //nolint:errcheck // a strings.Builder takes everything
	words.Fprintf(&b, "\n=> %s\n", e.answer())
	if e.out.Verdict != redirect.Unknown {
		words.Fprintf(&b, "   %s\n", e.out.Why())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func arrow(a redirect.Answer) string {
	switch a {
	case redirect.Yes:
		return "->"
	case redirect.No:
		return "  "
	}
	return " ?"
}

// answer is the outcome in a sentence.
func (e explanation) answer() string {
	var what string
	switch o := e.out; o.Verdict {
	case redirect.Redirected:
		what = fmt.Sprintf("redirect: the proxy gets it, on port %d", o.Port)
	case redirect.TProxied:
		what = fmt.Sprintf("tproxy: the proxy gets it, on port %d, with its addresses kept", o.Port)
	case redirect.DNATed:
		what = fmt.Sprintf("dnat: %s gets it", o.To)
	case redirect.Dropped:
		what = "drop: nobody gets it"
	case redirect.Rejected:
		what = "reject: nobody gets it, and the sender is told"
	case redirect.Unknown:
		return "unknown: a rule that cannot be interpreted decides"
	default:
		what = fmt.Sprintf("pass: it goes to %s", e.packet.Dst)
	}
	return what
}

// explainJSON is `detour explain -o json`.
type explainJSON struct {
	Schema  string     `json:"schema"`
	Packet  string     `json:"packet"`
	Rules   string     `json:"rules"`
	Outcome string     `json:"outcome"`
	Port    uint16     `json:"port,omitempty"`
	To      string     `json:"to,omitempty"`
	Steps   []stepJSON `json:"steps"`
}

type stepJSON struct {
	Hook    string `json:"hook"`
	Table   string `json:"table"`
	Chain   string `json:"chain"`
	Rule    int    `json:"rule"` // from 1
	Match   string `json:"match"`
	Then    string `json:"then"`
	Matched string `json:"matched"`
	Why     string `json:"why"`
}

func (e explanation) json() (string, error) {
	out := explainJSON{Schema: "detour-cni.dev/explain/v1", Packet: packetWords(e.packet), Rules: e.of.Why,
		Outcome: string(e.out.Verdict), Port: e.out.Port, Steps: []stepJSON{}}
	if e.out.Verdict == redirect.DNATed {
		out.To = e.out.To.String()
	}
	for _, s := range e.out.Steps {
		out.Steps = append(out.Steps, stepJSON{string(s.Hook), string(s.Table), s.Chain, s.Index + 1,
			words.Match(s.Rule.Match), words.Target(s.Rule.Target), s.Matched.String(), s.Rule.Why})
	}
	return indented(out)
}

// packetWords says whose packet it is and where it wants to go.
func packetWords(p redirect.Packet) string {
	who := fmt.Sprintf("%d:%d in the pod", p.UID, p.GID)
	way := "leaves by " + known(p.Out)
	if p.Hook == redirect.Prerouting {
		who, way = "somebody outside", "comes in by "+known(p.In)
	}
	src := p.Src.Addr().String()
	if p.Src.Port() != 0 {
		src = p.Src.String()
	}
	return fmt.Sprintf("%s: %s %s -> %s, %s", who, strings.ToUpper(p.Proto.String()), src, p.Dst, way)
}

// known names an interface: a namespace without a default route has none that leads out.
func known(name string) string {
	if name == "" {
		return "an interface that is not known (no default route; --in names one)"
	}
	return name
}
