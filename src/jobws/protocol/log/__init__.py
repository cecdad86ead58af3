"""What goes over the wire on `/logs`: `requests` that clients make, `answers` to them, and the `records`, its lines."""
