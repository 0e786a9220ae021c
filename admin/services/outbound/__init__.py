"""What we ask of Twilio: calls that we place, and calls in progress that are changed."""
