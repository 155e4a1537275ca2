"""What a bank imports: the verifier and all that it stands on."""
