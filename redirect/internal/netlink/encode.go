package netlink

import (
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"golang.org/x/sys/unix"
)

// Batch is messages under construction, back to back in one buffer.
type Batch struct {
	b     []byte
	start int // of the message being written
	// inMessage is false for a bare list of attributes.
	inMessage bool
}

// Bytes gives the messages.
func (b *Batch) Bytes() []byte { return b.b }

// Grow makes room for so many bytes more, where the size is known beforehand.
func (b *Batch) Grow(bytes int) { b.b = slices.Grow(b.b, bytes) }

// Message starts a message: its header, and the family's own header after it.
// It is complete with the next Message, or with Bytes.
func (b *Batch) Message(typ, flags uint16, seq uint32, header []byte) {
	b.start, b.inMessage = len(b.b), true
	b.b = append(b.b, make([]byte, unix.NLMSG_HDRLEN)...)
	h := b.b[b.start:]
	binary.NativeEndian.PutUint16(h[4:], typ)
	binary.NativeEndian.PutUint16(h[6:], flags|unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(h[8:], seq)
	b.b = append(b.b, header...)
	b.pad()
}

// pad aligns the end, and keeps the message's length true.
func (b *Batch) pad() {
	for len(b.b)%4 != 0 {
		b.b = append(b.b, 0)
	}
	if !b.inMessage {
		return
	}
	binary.NativeEndian.PutUint32(b.b[b.start:], uint32(len(b.b)-b.start))
}

// Attr appends an attribute with these bytes.
func (b *Batch) Attr(typ uint16, value []byte) {
	b.b = binary.NativeEndian.AppendUint16(b.b, uint16(len(value)+unix.SizeofRtAttr))
	b.b = binary.NativeEndian.AppendUint16(b.b, typ)
	b.b = append(b.b, value...)
	b.pad()
}

// String appends a NUL-terminated string.
func (b *Batch) String(typ uint16, s string) { b.Attr(typ, append([]byte(s), 0)) }

// Uint32 appends a number in network order, as nf_tables has them.
func (b *Batch) Uint32(typ uint16, n uint32) { b.Attr(typ, binary.BigEndian.AppendUint32(nil, n)) }

// Native32 appends a number in host order, as rtnetlink has them.
func (b *Batch) Native32(typ uint16, n uint32) {
	b.Attr(typ, binary.NativeEndian.AppendUint32(nil, n))
}

// Nest appends an attribute that holds what inside appends.
func (b *Batch) Nest(typ uint16, inside func()) {
	at := len(b.b)
	b.Attr(typ|unix.NLA_F_NESTED, nil)
	inside()
	binary.NativeEndian.PutUint16(b.b[at:], uint16(len(b.b)-at))
}

// Attr is one attribute as received; its type without the flag bits.
type Attr struct {
	Type  uint16
	Value []byte
}

// Attrs walks the attributes in b. Whatever does not fit any more is an error,
// yielded last.
func Attrs(b []byte) iter.Seq2[Attr, error] {
	return func(yield func(Attr, error) bool) {
		for len(b) >= unix.SizeofRtAttr {
			length := int(binary.NativeEndian.Uint16(b))
			if length < unix.SizeofRtAttr || length > len(b) {
				yield(Attr{}, fmt.Errorf("attribute of %d bytes in %d", length, len(b)))
				return
			}
			a := Attr{binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER), b[unix.SizeofRtAttr:length]}
			if !yield(a, nil) {
				return
			}
			b = b[min(align(length), len(b)):]
		}
	}
}
