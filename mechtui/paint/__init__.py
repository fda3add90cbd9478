"""Numbers to coloured cells: rich Segments and textual-free helpers. Neither textual nor torch."""
