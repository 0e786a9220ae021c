"""What the wires say: messages, frames and audio, without sockets, clock or call state."""
