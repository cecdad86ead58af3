"""What goes over the wire: pure, shared by server, Python client and the conformance vectors."""
