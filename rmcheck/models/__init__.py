"""What turns a prompt with a response into a reward, behind one protocol."""
