"""Random questions to the two witnesses, the library and the page in web/."""
