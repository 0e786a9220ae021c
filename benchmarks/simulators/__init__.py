"""Stand-ins for OpenAI and Twilio that speak the real protocols; used by tests, demo and benchmarks."""
