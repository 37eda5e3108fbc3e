"""What a serving process is to those outside: its supervisor, and who asks on its admin address."""
