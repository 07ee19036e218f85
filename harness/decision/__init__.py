"""What the ranked rows say beyond their order: who is beaten in everything, what would change the winner, how large a fleet."""
