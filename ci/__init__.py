"""What runs around the program: on Windows without a Windows, with newer packages, and what is handed out."""
