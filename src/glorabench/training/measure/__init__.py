"""What is measured of a trained network: costs, forgetting, where it was made."""
