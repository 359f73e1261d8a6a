"""What else could one do, on equal terms?"""
