// Package proxies holds tests with real transparent proxies that nobody here wrote,
// sing-box and HAProxy: each runs as the sidecar of a pod that is a mesh's by its
// annotations alone, and carries real calls both ways.
//
//	peer ("the wire")                  pod
//	+--------------------+   +------------------------------------+
//	| service  :80       |---| app    user 1000   :8080           |
//	| client             |   | proxy  the mesh's own user, ports  |
//	+--------------------+   +------------------------------------+
//
// What counts is what the proxy says in its own log that it was asked for (whose
// call, and where to), who answered, and whom the server saw calling.
//
// Be aware:
//   - HAProxy 2.6 does not ask the kernel for an IPv6 original destination, so it has
//     IPv6 only where TPROXY makes that unnecessary: inbound.
//   - sing-box calls the app from an address of its own also under TPROXY; that the
//     app sees the client's address is HAProxy's to show (usesrc clientip).
//   - `make bin/sing-box` takes a minute the first time.
package proxies
