"""`cutaway lens`: what each layer would predict, if the model stopped there."""
