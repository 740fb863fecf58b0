"""What somebody else's package brings, one of each: a format, a label, an architecture, a tensor product."""
