"""What a task is and what may become of it: frozen values and pure rules, no I/O, no clock, no chance."""
