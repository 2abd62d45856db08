"""What can be asked about labelled texts: classes, numbers, choices, words, answers."""
