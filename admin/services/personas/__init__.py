"""Who answers: personas, their versions, and how they sound."""
