// Package proxy is the smallest sidecar proxy that is a real one: it takes the
// connections that a redirect bends to it, asks the kernel where they were going,
// goes there itself, and copies both ways.
//
//	app --calls 203.0.113.10:80--> kernel --bends--> proxy :15001
//	                                                   | SO_ORIGINAL_DST says 203.0.113.10:80
//	                                                   +--calls 203.0.113.10:80--> kernel, lets it through
//
// Be aware:
//   - It knows itself by the uid that it runs as, like every sidecar: started as
//     another user its own calls would be bent back to it. It refuses a connection
//     whose original destination is its own listener, which is what that looks like.
//   - It copies bytes. There is no TLS, no policy and no retry in it.
package proxy
