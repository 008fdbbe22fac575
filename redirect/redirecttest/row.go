package redirecttest

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/detour-cni/detour/redirect"
)

// Row is one line of a packet table.
type Row struct {
	Line   int
	Text   string
	Packet redirect.Packet
	Want   redirect.Outcome // without Steps
	// Plain: who listens on inboundPort is not transparent (Packet.NoListener is true then, too).
	Plain bool
	// Second is the name of the pod's second interface, if the row names one.
	Second string
	// Opaque: Trace cannot say, only the kernel knows (of rules that are not ours).
	Opaque bool
	// marked: the outcome's mark was given; else it follows from the verdict.
	marked bool
}

func (r Row) String() string { return fmt.Sprintf("line %d: %s", r.Line, r.Text) }

// parseRows reads a table. Its interfaces are named by its PREROUTING rows.
func parseRows(table []byte) ([]Row, error) {
	var rows []Row
	second := "net1"
	for i, line := range strings.Split(string(table), "\n") {
		text, _, _ := strings.Cut(line, "#")
		if strings.TrimSpace(text) == "" {
			continue
		}
		r, err := parseRow(text)
		r.Line, r.Text = i+1, strings.Join(strings.Fields(text), " ")
		if err != nil {
			return nil, fmt.Errorf("%v: %w", r, err)
		}
		if r.Second != "" {
			second = r.Second
		}
		rows = append(rows, r)
	}
	for i := range rows {
		p := &rows[i].Packet
		rows[i].Second, p.Own = second, ownAddrs()
		if p.Hook == redirect.Output {
			p.Out = outIface(p.Dst.Addr(), second)
			p.ForeignSrc = !isPods(p.Src.Addr())
		} else {
			p.ForeignSrc = true
		}
		p.Reply = p.State == redirect.CTEstablished && p.Src.Port() < p.Dst.Port()
	}
	return rows, nil
}

func parseRow(text string) (Row, error) {
	var r Row
	f := strings.Fields(text)
	if len(f) < 5 {
		return r, fmt.Errorf("%d columns (want hook uid source destination want)", len(f))
	}
	if err := r.setHook(f[0]); err != nil {
		return r, err
	}
	if err := r.setOwner(f[1]); err != nil {
		return r, err
	}
	var err error
	if r.Packet.Src, err = parseSource(f[2]); err != nil {
		return r, err
	}
	if r.Packet.Proto, r.Packet.Dst, err = parseDestination(f[3]); err != nil {
		return r, err
	}
	if r.Packet.Src.Addr().Is4() != r.Packet.Dst.Addr().Is4() {
		return r, fmt.Errorf("source and destination of different families")
	}
	rest, err := r.setWant(f[4:])
	if err != nil {
		return r, err
	}
	for _, extra := range rest {
		if err := r.setExtra(extra); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (r *Row) setHook(text string) error {
	hook, iface, named := strings.Cut(text, "@")
	switch {
	case hook == "OUTPUT" && !named:
		r.Packet.Hook = redirect.Output
	case hook == "PREROUTING" && !named:
		r.Packet.Hook, r.Packet.In = redirect.Prerouting, "eth0"
	case hook == "PREROUTING" && iface != "":
		r.Packet.Hook, r.Packet.In, r.Second = redirect.Prerouting, iface, iface
	default:
		return fmt.Errorf("hook %q", text)
	}
	return nil
}

func (r *Row) setOwner(text string) error {
	if outside := r.Packet.Hook == redirect.Prerouting; outside || text == "-" {
		if !outside || text != "-" {
			return fmt.Errorf("uid %q at %s", text, r.Packet.Hook)
		}
		return nil
	}
	if text == "none" {
		r.Packet.NoSocket = true
		return nil
	}
	uid, gid, both := strings.Cut(text, ":")
	if !both {
		gid = uid
	}
	var err error
	if r.Packet.UID, err = redirect.ParseID(uid); err != nil {
		return err
	}
	r.Packet.GID, err = redirect.ParseID(gid)
	return err
}

func parseSource(text string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(a, 0), nil
	}
	return netip.ParseAddrPort(text)
}

func parseDestination(text string) (redirect.Proto, netip.AddrPort, error) {
	if rest, ok := strings.CutPrefix(text, "icmp/"); ok {
		a, err := netip.ParseAddr(rest)
		return redirect.ICMPProto, netip.AddrPortFrom(a, 0), err
	}
	proto := redirect.TCPProto
	if rest, ok := strings.CutPrefix(text, "udp/"); ok {
		proto, text = redirect.UDPProto, rest
	}
	d, err := netip.ParseAddrPort(text)
	return proto, d, err
}

// setWant reads the verdict, and gives the columns after it.
func (r *Row) setWant(f []string) ([]string, error) {
	r.Want.Verdict = redirect.Verdict(f[0])
	var arg string
	switch r.Want.Verdict {
	case redirect.Passed, redirect.Dropped, redirect.Rejected:
		return f[1:], nil
	case redirect.Redirected, redirect.TProxied, redirect.DNATed:
		if len(f) < 2 {
			return nil, fmt.Errorf("%s: where to?", f[0])
		}
		arg = f[1]
	default:
		return nil, fmt.Errorf("want %q", f[0])
	}
	var err error
	if r.Want.Verdict == redirect.DNATed {
		r.Want.To, err = netip.ParseAddrPort(arg)
	} else {
		r.Want.Port, err = redirect.ParsePort(arg)
	}
	return f[2:], err
}

func (r *Row) setExtra(text string) error {
	p := &r.Packet
	switch text {
	case "ct=invalid":
		p.State = redirect.CTInvalid
		return nil
	case "ct=established":
		p.State = redirect.CTEstablished
		return nil
	case "ct=related":
		p.State = redirect.CTRelated
		return nil
	case "socket=transparent":
		p.TransparentSocket = true
		return nil
	case "flags=syn":
		p.SYN = true
		return nil
	case "listener=none":
		p.NoListener = true
		return nil
	case "trace=unknown":
		r.Opaque = true
		return nil
	case "listener=plain":
		p.NoListener, r.Plain = true, true
		return nil
	}
	key, value, _ := strings.Cut(text, "=")
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil {
		return fmt.Errorf("column %q", text)
	}
	switch key {
	case "mark":
		p.Mark = uint32(n)
	case "connmark":
		p.ConnMark = uint32(n)
	case "zone":
		r.Want.Zone = uint16(n)
	case "outmark":
		r.Want.Mark, r.marked = uint32(n), true
	case "saved":
		r.Want.Saved = uint32(n)
	default:
		return fmt.Errorf("column %q", text)
	}
	return nil
}

// Outcome is what the row wants of a Spec: marks stay as they came unless the
// row says so, or tproxy sets its own.
func (r Row) Outcome(s redirect.Spec) redirect.Outcome {
	want := r.Want
	if want.Saved == 0 {
		want.Saved = r.Packet.ConnMark
	}
	switch {
	case r.marked:
	case want.Verdict == redirect.TProxied:
		want.Mark = s.TProxyMark
	default:
		want.Mark = r.Packet.Mark
	}
	return want
}
