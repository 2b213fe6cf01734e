"""Tables: a file for each, from records to rows with what is said of them."""
