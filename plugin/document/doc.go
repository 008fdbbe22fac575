// Package document reads the two kinds of documents that meshes put into an
// annotation, JSON and YAML, into one tree of nodes.
//
//	redirect:                    Map
//	  inbound: {port: 15006}       Map -> Scalar "15006"
//	  excludePorts: [80, "443"]    List of Scalars
//
// Of YAML it is the part that injectors and people write for configuration:
// block and flow collections, plain and quoted scalars, comments. Anchors,
// aliases, tags, merge keys and second documents are errors. docs/adr/0010-yaml.md
// says why no library is linked here; a fuzz test compares with one.
//
// Be aware:
//   - Documents come from whoever may create a pod. Size and depth are bounded,
//     time is linear in the size, duplicate keys and control characters are errors.
//   - Scalars stay text: 0x10 is "0x10", and no port. Whoever asks for a number
//     says what it must look like.
//   - A block scalar ("|", ">") is read over, its text is not kept: nothing that
//     detour reads is ever written so.
package document
