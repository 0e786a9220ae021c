"""What becomes of a call that comes in: numbers, opening hours, who answers, and what Twilio is told."""
