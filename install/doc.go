// Package install puts detour into a node's CNI chain, keeps it there, and takes
// it out again.
//
//	conf dir --Look--> Dir --Decide(Dir, Want)--> Plan{Steps} --Apply--> conf dir
//
// A Dir is what the directory holds, a Plan is what is to be done about it and why;
// both are values that can be printed. Only Look and Apply touch the system. Install,
// repair, change of mode and uninstall are all the same line: a Plan lists the
// differences between what is there and what is wanted, and an empty one means that
// nothing is to be done.
//
// There are three ways into the chain (Mode):
//
//	drop-in  net.d/<network>/90-detour-cni.conf    libcni >= 1.3 appends it to the list
//	splice   our entry at the end of "plugins" in the primary's own file
//	owned    <primary>-detour.conflist, a copy of the primary's chain with our entry,
//	         which sorts right before it
//
// Be aware:
//   - An older runtime ignores a drop-in and says nothing: pods would bypass the mesh.
//     Without knowledge of the runtime the mode is splice or owned, never drop-in.
//   - containerd ignores CREATE and CHMOD in its conf dir, and sees nothing of a
//     sub-directory. A file is therefore renamed into place within its own directory,
//     and of a change that it cannot see it is told by a temporary file that goes.
//   - The plugin is handed the cniVersion of the network's list, in drop-in mode too. One that it
//     does not speak would stop every pod: such a network is not joined, and is left (VersionError).
//   - A Config that cannot be used changes nothing: the node goes on with the options, and in the way
//     into the chain, of before (ConfigError).
//   - What Splice adds, Unsplice takes away to the byte. So the file as it was is
//     not kept anywhere: there is no state to lose.
//   - The binary goes in before the entry, and out after it and only while nothing in
//     the conf dir names it. An entry without a binary breaks ADD and DEL, and pods hang
//     in Terminating.
package install
