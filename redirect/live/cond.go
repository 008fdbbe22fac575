package live

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/detour-cni/detour/redirect"
)

// cond says what it means that a value is in one of the intervals; nil where nobody can say.
func (m *machine) cond(v value, of []interval) redirect.Cond {
	if len(of) == 0 || v.mask != nil && v.from != "ct" && v.from != "payload" {
		return nil
	}
	switch v.from {
	case "meta":
		return metaCond(v, of)
	case "payload":
		return m.payloadCond(v, of)
	case "ct":
		return ctCond(v, of)
	case "fib":
		n, ok := single(of)
		if !ok || v.key != unix.NFT_FIB_RESULT_ADDRTYPE || n != unix.RTN_LOCAL {
			return nil
		}
		switch v.base {
		case unix.NFTA_FIB_F_SADDR:
			return redirect.LocalSrc{}
		case unix.NFTA_FIB_F_DADDR:
			return redirect.LocalDst{}
		}
	case "socket":
		if v.key == 0 && bytes.Equal(of[0].first, []byte{1}) { // NFT_SOCKET_TRANSPARENT
			return redirect.TransparentSocket{}
		}
	}
	return nil
}

// single is the one value, in the host's order.
func single(of []interval) (uint32, bool) {
	if len(of) != 1 || len(of[0].first) != 4 || !bytes.Equal(of[0].first, of[0].last) {
		return 0, false
	}
	return binary.NativeEndian.Uint32(of[0].first), true
}

func metaCond(v value, of []interval) redirect.Cond {
	n, one := single(of)
	switch v.key {
	case unix.NFT_META_L4PROTO:
		return protocols(of)
	case unix.NFT_META_NFPROTO:
		if len(of) == 1 && len(of[0].first) == 1 {
			return redirect.Dst{Prefixes: []netip.Prefix{anyAddr(of[0].first[0] == unix.NFPROTO_IPV6)}}
		}
	case unix.NFT_META_IIFNAME, unix.NFT_META_OIFNAME:
		name, ok := ifname(of)
		return iface(v.key == unix.NFT_META_IIFNAME, name, ok)
	case unix.NFT_META_IIF, unix.NFT_META_OIF:
		if !one {
			return nil
		}
		i, err := net.InterfaceByIndex(int(n))
		if err != nil {
			return nil
		}
		return iface(v.key == unix.NFT_META_IIF, i.Name, true)
	case unix.NFT_META_MARK:
		if one {
			return redirect.Mark{Value: n}
		}
	case unix.NFT_META_SKUID, unix.NFT_META_SKGID:
		ids, ok := idRanges(of, v.network)
		if !ok {
			return nil
		}
		if v.key == unix.NFT_META_SKUID {
			return redirect.UID{IDs: ids}
		}
		return redirect.GID{IDs: ids}
	}
	return nil
}

func iface(in bool, name string, ok bool) redirect.Cond {
	switch {
	case !ok:
		return nil
	case in:
		return redirect.InIface{Iface: redirect.Iface(name)}
	}
	return redirect.OutIface{Iface: redirect.Iface(name)}
}

// ifname is all 16 bytes, or the first few of a name that ends in "+". More are a name and
// something else, concatenated.
func ifname(of []interval) (string, bool) {
	if len(of) != 1 || len(of[0].first) > unix.IFNAMSIZ || !bytes.Equal(of[0].first, of[0].last) {
		return "", false
	}
	name := text(of[0].first)
	if len(name) == len(of[0].first) {
		name += "+"
	}
	return name, name != ""
}

func idRanges(of []interval, network bool) (ids []redirect.IDRange, ok bool) {
	for _, i := range of {
		if len(i.first) != 4 || len(i.last) != 4 {
			return nil, false
		}
		if network {
			ids = append(ids, redirect.IDRange{First: binary.BigEndian.Uint32(i.first), Last: binary.BigEndian.Uint32(i.last)})
			continue
		}
		if !bytes.Equal(i.first, i.last) {
			return nil, false // compared byte by byte, whatever was meant
		}
		id := binary.NativeEndian.Uint32(i.first)
		ids = append(ids, redirect.IDRange{First: id, Last: id})
	}
	return redirect.Merge(ids), true
}

func protocols(of []interval) redirect.Cond {
	var all []redirect.Proto
	for _, i := range of {
		if len(i.first) != 1 || len(i.last) != 1 || i.first[0] != i.last[0] {
			return nil
		}
		all = append(all, redirect.Proto(i.first[0]))
	}
	return protocol(all...)
}

func protocol(all ...redirect.Proto) redirect.Cond {
	switch {
	case slices.Equal(all, []redirect.Proto{redirect.TCPProto}):
		return redirect.TCP{}
	case slices.Equal(all, []redirect.Proto{redirect.UDPProto}):
		return redirect.UDP{}
	}
	return redirect.Protocol{Protos: all}
}

func ctCond(v value, of []interval) redirect.Cond {
	if v.key == unix.NFT_CT_DIRECTION && v.mask == nil {
		return directionCond(of)
	}
	n, ok := single(of)
	switch {
	case v.key == unix.NFT_CT_MARK && v.mask == nil && ok:
		return redirect.ConnMark{Value: n}
	case v.key == unix.NFT_CT_STATE && len(v.mask) == 4 && ok && n == 0:
		// Not one of the bits: a comparison with "not equal 0" turns it round.
		return redirect.Not{Cond: redirect.CTState{States: redirect.CTStates(binary.NativeEndian.Uint32(v.mask))}}
	case v.key == unix.NFT_CT_STATE && v.mask == nil && ok:
		return redirect.CTState{States: redirect.CTStates(n)}
	}
	return nil
}

func directionCond(of []interval) redirect.Cond {
	direction, ok := oneByte(of)
	if !ok {
		return nil
	}
	return unless(redirect.CTReply{}, direction == 0) // IP_CT_DIR_ORIGINAL
}

// oneByte is the only value, of one byte.
func oneByte(of []interval) (b byte, ok bool) {
	if len(of) != 1 || len(of[0].first) != 1 || !bytes.Equal(of[0].first, of[0].last) {
		return 0, false
	}
	return of[0].first[0], true
}

// payloadCond knows addresses, ports and the protocol by where they stand in the headers.
func (m *machine) payloadCond(v value, of []interval) redirect.Cond {
	if v.base == unix.NFT_PAYLOAD_TRANSPORT_HEADER && v.key == 13 && v.length == 1 {
		return flagsCond(v.mask, of)
	}
	if v.base == unix.NFT_PAYLOAD_TRANSPORT_HEADER {
		ports, ok := portRanges(of)
		switch {
		case !ok || v.length != 2 || v.mask != nil:
			return nil
		case v.key == 0:
			return redirect.SrcPort{Ports: ports}
		case v.key == 2:
			return redirect.DstPort{Ports: ports}
		}
		return nil
	}
	v6, known := m.isV6()
	if v.base != unix.NFT_PAYLOAD_NETWORK_HEADER || !known {
		return nil
	}
	if at := map[bool]uint32{false: 9, true: 6}[v6]; v.key == at && v.length == 1 && v.mask == nil {
		return protocols(of)
	}
	if !v6 && v.key == 6 && bytes.Equal(v.mask, []byte{0x1f, 0xff}) && len(of) == 1 && bytes.Equal(of[0].last, []byte{0, 0}) {
		return redirect.Not{Cond: redirect.Fragment{}} // its place in the packet is 0
	}
	size, src, dst := uint32(4), uint32(12), uint32(16)
	if v6 {
		size, src, dst = 16, 8, 24
	}
	if v.length > size || v.key != src && v.key != dst {
		return nil
	}
	prefixes, ok := prefixesOf(of, v.mask, int(size))
	switch {
	case !ok:
		return nil
	case v.key == src:
		return redirect.Src{Prefixes: prefixes}
	}
	return redirect.Dst{Prefixes: prefixes}
}

// flagsCond compares TCP's flags with one value.
func flagsCond(mask []byte, of []interval) redirect.Cond {
	if mask == nil {
		mask = []byte{0xff}
	}
	set, ok := oneByte(of)
	if len(mask) != 1 || !ok {
		return nil
	}
	return flags(mask[0], set)
}

// flags says iptables' --syn as our own rules do.
func flags(mask, set uint8) redirect.Cond {
	if mask == redirect.FlagsSYN && set == redirect.FlagSYN {
		return redirect.SYN{}
	}
	return redirect.Flags{Mask: mask, Set: set}
}

func portRanges(of []interval) (ports []redirect.PortRange, ok bool) {
	for _, i := range of {
		if len(i.first) != 2 || len(i.last) != 2 {
			return nil, false
		}
		ports = append(ports, redirect.PortRange{First: binary.BigEndian.Uint16(i.first), Last: binary.BigEndian.Uint16(i.last)})
	}
	return ports, true
}

// prefixesOf takes intervals of addresses apart into prefixes. Fewer bytes than an address
// has are a prefix of that many; a mask is one of its ones.
func prefixesOf(of []interval, mask []byte, size int) (all []netip.Prefix, ok bool) {
	for _, i := range of {
		if len(i.first) > size || len(i.last) > size {
			return nil, false // concatenated with something else
		}
		bits := len(i.first) * 8
		if mask != nil {
			if bits = ones(mask); bits < 0 {
				return nil, false
			}
		}
		first, last := pad(i.first, size, 0), pad(i.last, size, 0xff)
		a, ok1 := netip.AddrFromSlice(first)
		b, ok2 := netip.AddrFromSlice(last)
		if !ok1 || !ok2 {
			return nil, false
		}
		if bytes.Equal(i.first, i.last) {
			all = append(all, netip.PrefixFrom(a, bits))
			continue
		}
		if mask != nil {
			return nil, false
		}
		all = append(all, spanning(a, b)...)
	}
	return all, true
}

func pad(b []byte, size int, with byte) []byte {
	return append(slices.Clone(b), bytes.Repeat([]byte{with}, max(size-len(b), 0))...)
}

// ones is how many bits the mask begins with; -1 where it has others too.
func ones(mask []byte) int {
	if n, size := net.IPMask(mask).Size(); size != 0 {
		return n
	}
	return -1
}

// spanning gives the fewest prefixes from one address to another.
func spanning(a, b netip.Addr) (all []netip.Prefix) {
	for a.IsValid() && a.Compare(b) <= 0 {
		bits := a.BitLen()
		for bits > 0 {
			p := netip.PrefixFrom(a, bits-1)
			if p.Masked().Addr() != a || lastOf(p).Compare(b) > 0 {
				break
			}
			bits--
		}
		p := netip.PrefixFrom(a, bits)
		all = append(all, p)
		a = lastOf(p).Next()
	}
	return all
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// reason is a comment without the word that every one of ours begins with.
func reason(comment string) string { return strings.TrimPrefix(comment, redirect.CommentPrefix) }
