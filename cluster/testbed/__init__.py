"""A cluster of several nodes on one machine, for trying and testing: nodes that can die, and links that can be cut.

- `layout`: what is there, in a file of the cluster's folder.
- `namespaces`: nodes with a network, processes and a host name of their own, joined by a bridge; Linux.
- `plain`: nodes that share all of that with the machine, where namespaces cannot be made.
- `operations`: up, down, start, kill, cut, heal, and a command on a node.
- `init`, `enter`: the scripts that run as a node's process 1, and that lead into a node.
"""
