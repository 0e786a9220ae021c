"""Who may come in: people, their sessions and keys, and those whom Supabase knows."""
