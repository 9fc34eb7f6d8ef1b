-- needs: views
return answer(views())
