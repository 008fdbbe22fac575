package document

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Node is one value of a document. The zero Node is null.
type Node struct {
	Kind Kind
	// Text is a scalar's, unquoted; Quoted that it stood in quotes.
	Text   string
	Quoted bool
	// Items are a list's.
	Items []Node
	// Members are a map's, in the document's order, no name twice.
	Members []Member
}

// Kind is what a Node is.
type Kind int

// The kinds. BlockText is a scalar whose text was not kept.
const (
	Null Kind = iota
	Scalar
	BlockText
	List
	Map
)

func (k Kind) String() string {
	return [...]string{"null", "a scalar", "a block of text", "a list", "a mapping"}[k]
}

// Member is one name of a map with its value.
type Member struct {
	Name  string
	Value Node
}

// The bounds of a document, in bytes and in nested collections. The largest
// real one seen, Kuma's with every key spelled out, has 2 KiB and 4 levels.
const (
	MaxSize  = 64 << 10
	MaxDepth = 32
)

var (
	// Not by fmt, whose first use costs every ADD 40 µs.
	errDepth = errors.New("nested deeper than " + strconv.Itoa(MaxDepth))
	errSize  = errors.New("larger than " + strconv.Itoa(MaxSize) + " bytes")
)

// At gives the node at a path of names with dots between them. What is not
// there, or is null on the way, is null.
func (n Node) At(path string) (Node, error) {
	for name := range strings.SplitSeq(path, ".") {
		switch n.Kind {
		case Null:
			return Node{}, nil
		case Map:
		default:
			return Node{}, fmt.Errorf("%s where %s is looked for (want a mapping)", n.Kind, name)
		}
		n = n.member(name)
	}
	return n, nil
}

func (n Node) member(name string) Node {
	for _, m := range n.Members {
		if m.Name == name {
			return m.Value
		}
	}
	return Node{}
}

// Texts gives a scalar as a list of one, and a list of scalars.
func (n Node) Texts() ([]string, error) {
	switch n.Kind {
	case Scalar:
		return []string{n.Text}, nil
	case List:
		texts := make([]string, 0, len(n.Items))
		for _, item := range n.Items {
			if item.Kind != Scalar {
				return nil, fmt.Errorf("%s in a list (want values)", item.Kind)
			}
			texts = append(texts, item.Text)
		}
		return texts, nil
	case Null:
		return nil, nil
	}
	return nil, fmt.Errorf("%s (want a value, or a list of values)", n.Kind)
}

// builder adds members to a map and refuses a name that is there already.
type builder struct {
	node Node
	seen map[string]bool
}

func (b *builder) add(name string, value Node) error {
	if b.seen == nil {
		b.seen = map[string]bool{}
	}
	switch {
	case b.seen[name]:
		return fmt.Errorf("key %.64q stands there twice", name)
	case name == "<<":
		return errors.New("merge keys are not read")
	}
	b.seen[name] = true
	b.node.Members = append(b.node.Members, Member{name, value})
	return nil
}
