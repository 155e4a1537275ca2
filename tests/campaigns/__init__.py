"""What runs for as long as one likes: simulation, exploration, chaos, fuzzing, mutation."""
